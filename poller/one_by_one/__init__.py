"""The way out for sinks that take events one by one, each tried until it is taken: webhooks."""
