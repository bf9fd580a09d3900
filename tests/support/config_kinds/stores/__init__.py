"""Small kinds for the tests of the configuration."""
