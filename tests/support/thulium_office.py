"""The part of a configuration that needs no vendor: nobody asks it."""

OFFICE = """\
sources:
  office:
    kind: thulium
    base_url: https://pbx.example/api
    username: me
    password: {env: PASSWORD}
    endpoints: {connections: {}}
"""
"""One source; the variable PASSWORD has its secret."""
