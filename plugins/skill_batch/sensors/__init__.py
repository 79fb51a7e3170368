"""Waiting, without holding a worker, for what another batch has to do first."""
