"""The files and pages of deploy/ and docs/deploy/."""
