//! The controller of docs/controller.md, and changes by the real ipvsadm.

use std::path::Path;

use crate::support::{
    Namespace,
    daemon::{ADDRESS, Daemon},
    run,
};

#[test]
fn a_stock_python_controller_reverts_what_ipvsadm_changes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join(".cache/venv/bin/python");
    assert!(python.exists(), "no stock gRPC client: lab/install tests");
    let test = root.join("tests/controller.py");
    let address = ADDRESS.to_string();
    let ipvsadm = "ipvsadm -e -t 192.0.2.1:80 -r 192.168.10.1:80 -m -w 0";
    let namespace = Namespace::new();
    namespace.run(|| {
        let _daemon = Daemon::start(&[]);
        let words = [test.to_str().unwrap(), address.as_str()].into_iter();
        run(python.to_str().unwrap(), words.chain(ipvsadm.split(' ')));
    });
    let wanted = "\
-A -t 192.0.2.1:80 -s wlc
-a -t 192.0.2.1:80 -r 192.168.10.1:80 -m -w 7
-a -t 192.0.2.1:80 -r 192.168.10.2:80 -m -w 1
";
    assert_eq!(namespace.save(), wanted);
}
