"""From a delivery to a batch and refusals: nothing bad gets in, nothing good gets lost."""
