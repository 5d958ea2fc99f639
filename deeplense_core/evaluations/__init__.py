"""What evaluations have found: started in the background, read back, compared, handed on as files."""
