"""Notifiers. They must not import ``include``, which the triggerer does not have on some platforms."""
