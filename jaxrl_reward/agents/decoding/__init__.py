"""Writing better than the policy does, without training it: by values, search, and stopping."""
