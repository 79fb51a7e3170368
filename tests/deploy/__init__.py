"""The files and pages of deploy/ and docs/install/."""
