"""A local Sentry for development: takes what SDKs send, keeps it, and shows it in the browser.

    bytes → envelope → records → store → views → pages

Each arrow is one module; `envelope`, `records` and `views` are pure, `store` is the only one
that touches a disk, and `app` joins them. Nothing outside this package imports it but the
command line: it stands on an extra, and an application in production never loads it.
"""
