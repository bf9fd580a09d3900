"""One folder for each kind of place where events go; a folder is a registration."""
