"""The three vendors as strict and, on request, nasty HTTP servers over one moving world, with the truth of what must be published.

Written from the vendors' documents alone and sharing nothing with the parsers, so that the two cannot agree by construction.
"""
