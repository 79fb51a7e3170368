"""Feedback about accepted e-mails: bounces, complaints and unsubscriptions, from a mailbox.

``mailbox`` reads mails over IMAP, ``reports`` parses one mail, ``record`` writes the report into the database, and ``reading`` does these
three steps for one run.
"""
