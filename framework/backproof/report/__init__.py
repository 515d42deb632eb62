"""One HTML page on a sweep."""
