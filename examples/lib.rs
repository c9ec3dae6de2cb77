//! Stories that run: see the files beside this one.
