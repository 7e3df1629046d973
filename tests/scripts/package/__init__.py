"""A package that is run with -m."""

print("package imported as", __name__)
