"""What is known of frameworks: one interface, and a folder for each that has one.

`base` is the interface, `none` does without any, `registry` finds the others by entry point. The
folders lie above `training` and `distribution`; nothing outside of this room names one of them.
"""
