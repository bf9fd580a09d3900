"""The status page: which phone system is behind and why, for a person with a browser."""

from poller.page.routes import page_app, serve_page

__all__ = ["page_app", "serve_page"]
