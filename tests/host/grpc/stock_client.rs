//! A stock client in another language, which uses server reflection only.

use std::process::Command;

use super::harness::start_daemon;

const TABLE: &str = "\
-A -t 207.175.44.110:80 -s rr
-a -t 207.175.44.110:80 -r 192.168.10.5:80 -m -w 1
-a -t 207.175.44.110:80 -r 192.168.10.4:80 -m -w 1
-a -t 207.175.44.110:80 -r 192.168.10.3:80 -m -w 1
-a -t 207.175.44.110:80 -r 192.168.10.2:80 -m -w 1
-a -t 207.175.44.110:80 -r 192.168.10.1:80 -m -w 1
-A -t [2001:db8::80]:80 -s rr
-a -t [2001:db8::80]:80 -r [2001:db8::a0a0]:80 -m -w 1
-A -f 1 -s rr
-a -f 1 -r 192.168.10.5:0 -m -w 1
-a -f 1 -r 192.168.10.4:0 -m -w 1
-a -f 1 -r 192.168.10.3:0 -m -w 1
-a -f 1 -r 192.168.10.2:0 -m -w 1
-a -f 1 -r 192.168.10.1:0 -m -w 1
";

#[tokio::test]
#[ignore = "needs IPVSD_TEST_PYTHON, a Python with grpcio, grpcio-reflection and protobuf"]
async fn a_stock_python_client_creates_the_examples_of_the_manual() {
    let python = std::env::var("IPVSD_TEST_PYTHON").expect("IPVSD_TEST_PYTHON names a Python");
    let mut daemon = start_daemon().await;
    daemon.create_service("tcp-192.0.2.1-80", &[]).await;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/grpc_stock_client.py");
    let endpoint = daemon.address.replace("http://", "");
    let mut command = Command::new(python);
    command.args([script, "--clear", &endpoint]);
    let output = tokio::task::spawn_blocking(move || command.output()).await;
    let output = output.unwrap().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), TABLE, "{errors}");
}
