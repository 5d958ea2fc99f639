"""Every module of this folder registers recipes; a new file here is all that a new recipe needs."""
