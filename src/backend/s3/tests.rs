//! The store over services of S3: our own face in this process, and others where they are at hand.
