"""Feedback about letters that were accepted: bounces, complaints and unsubscriptions, from a mailbox.

``mailbox`` reads mails over IMAP, ``reports`` says what one mail reports, ``record`` writes this into the database, and ``reading`` does
the three for one run.
"""
