//! The conformance suite on a disk and on the shim; what only a directory can do wrong is in the files beside.

mod on_disk {
    use std::sync::Arc;

    use crate::backend::fs::{Fs, Settings};

    fn fresh() -> (Arc<Fs>, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        (Arc::new(Fs::open(Settings::at(dir.path())).unwrap()), dir)
    }

    crate::backend::conformance::passes_conformance!(fresh());
}

mod on_shim {
    use std::sync::Arc;

    use crate::backend::fs::{Fs, shim::Shim};

    crate::backend::conformance::passes_conformance!((Arc::new(Fs::on_shim(&Shim::new()).unwrap()), ()));
}
