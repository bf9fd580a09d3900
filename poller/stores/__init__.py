"""One module or folder for each kind of store; it is its registration."""
