//! One folder per service, one file per verb: authorize, parse, load, decide, commit.
