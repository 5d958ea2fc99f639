from small_sets import small_set  # noqa: F401  (a fixture for every test here)
