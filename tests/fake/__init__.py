"""Peers that misbehave on request: a CA and TLS servers, for the tests only."""
