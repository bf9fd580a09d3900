"""One folder for each vendor; a folder is a registration. No I/O, clock or log in here."""
