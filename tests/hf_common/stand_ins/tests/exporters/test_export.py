class ExportTesterMixin:
    """Its tests are not in the sdist."""
