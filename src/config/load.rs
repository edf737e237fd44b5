//! File < environment < flags, to a checked [`super::Config`] or all problems at once.
