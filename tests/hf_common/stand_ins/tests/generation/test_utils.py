class GenerationTesterMixin:
    """Its tests are not in the sdist."""
