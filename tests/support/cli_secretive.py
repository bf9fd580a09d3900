"""A configuration of whose secrets none is to be had."""

SECRETIVE = """\
admin: {socket: p.sock}
sinks:
  crm:
    kind: webhook
    url: {env: NOT_SET_URL}
    secrets: [{env: NOT_SET_KEY}, {file: nowhere/key}]
    tls: {ca_file: nowhere/ca.pem}
  kafka:
    kind: kafka
    bootstrap_servers: [127.0.0.1:1]
    security:
      protocol: SASL_SSL
      username: u
      password: {env: NOT_SET_PASSWORD}
      cert_file: nowhere/cert.pem
      key_file: nowhere/key.pem
sources:
  mor:
    kind: mor
    base_url: https://mor.example
    username: admin
    version: x13
    api_secret: {env: NOT_SET_SECRET}
    endpoints: {user_calls: {}}
  office:
    kind: fonouc
    base_url: https://pbx.example
    account_id: a
    api_key: {env: NOT_SET_PASSWORD}
    tls: {ca_file: nowhere/ca.pem}
    endpoints: {cdrs: {}}
"""
"""Without the store, which each test names."""
