"""Mail programs of Debian's packages."""
