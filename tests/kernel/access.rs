//! Access control across a network: three directors, clients with a certificate and with tokens.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;

use crate::support::{Namespace, until};

const IPVSD: &str = env!("CARGO_BIN_EXE_ipvsd");
const IPVSCTL: &str = env!("CARGO_BIN_EXE_ipvsctl");
const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const VIEWER: &str = "ipvsd_the-token-of-the-viewer";
const OPERATOR: &str = "ipvsd_the-token-of-the-operator";

/// A director: its namespace, with a daemon that clients reach by TLS only.
struct Director {
    namespace: Namespace,
    endpoint: String,
    audit: PathBuf,
    process: Child,
}

/// What a remote client has, in its own namespace.
struct Client<'a> {
    namespace: &'a Namespace,
    folder: &'a Path,
}

/// A folder that is removed at the end.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Drop for Director {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Makes a certificate, with the authority of the folder.
fn certify(folder: &Path, name: &str, options: &[&str]) {
    let file = |kind: &str| folder.join(format!("{name}.{kind}"));
    let (certificate, key) = (file("pem"), file("key"));
    let mut command = Command::new(IPVSD);
    command.arg("cert").args(options);
    if name != "ca" {
        let authority = [folder.join("ca.pem"), folder.join("ca.key")];
        command.arg("--ca-certificate").arg(&authority[0]);
        command.arg("--ca-key").arg(&authority[1]);
    }
    command.arg("--certificate").arg(certificate);
    command.arg("--key").arg(key);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

fn policy() -> String {
    let token = |name: &str, role: &str, token: &str| {
        let hash = ipvsd::model::Sha256::of(token.as_bytes());
        format!("[[token]]\nname = '{name}'\nsha256 = '{hash}'\nrole = '{role}'\n")
    };
    token("grafana", "viewer", VIEWER)
        + &token("oncall", "operator", OPERATOR)
        + "[[certificate]]\nuri = 'spiffe://example.org/controller'\nrole = 'editor'\n\
           name = 'controller'\nscope = [{ address = '192.0.2.0/24' }]\n"
}

impl Director {
    fn start(number: u8, client: &Namespace, folder: &Path) -> Self {
        let namespace = Namespace::new();
        let device = format!("d{number}");
        client.link(&device, &namespace, "eth0");
        client.ip(&format!("addr add 10.99.{number}.2/24 dev {device}"));
        client.ip(&format!("link set {device} up"));
        namespace.ip(&format!("addr add 10.99.{number}.1/24 dev eth0"));
        namespace.ip("link set eth0 up");
        let address = format!("10.99.{number}.1");
        certify(folder, &device, &["--name", &device, "--address", &address]);
        let file = |name: String| folder.join(name);
        let audit = file(format!("{device}.audit"));
        let process = namespace.run(|| {
            Command::new(IPVSD)
                .args(["--listen", &format!("tls:{address}:4788")])
                .arg("--policy")
                .arg(file("policy.toml".to_owned()))
                .env("IPVSD_TLS_CERTIFICATE", file(format!("{device}.pem")))
                .env("IPVSD_TLS_KEY", file(format!("{device}.key")))
                .env("IPVSD_TLS_CLIENT_CA", file("ca.pem".to_owned()))
                .env("IPVSD_TLS_CLIENT_CERTIFICATES", "optional")
                .env("IPVSD_AUDIT_FILE", &audit)
                .env("IPVSD_STATE_DIR", "memory")
                .env_remove("IPVSD_TEST_LOG")
                .stdin(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap()
        });
        let socket: SocketAddr = format!("{address}:4788").parse().unwrap();
        client.run(|| {
            until("ipvsd listens", || {
                let connected = TcpStream::connect(socket);
                connected.map(drop).map_err(|error| error.to_string())
            });
        });
        Self {
            namespace,
            endpoint: format!("https://{socket}"),
            audit,
            process,
        }
    }

    /// Principal, operation and outcome of the records of refusals, the oldest first. They are written
    /// shortly after the response.
    fn refusals(&self, number: usize) -> Vec<[String; 3]> {
        let mut found = Vec::new();
        until("the refusals are in the audit trail", || {
            let text = fs::read_to_string(&self.audit).map_err(|error| error.to_string())?;
            assert!(!text.contains("ipvsd_"), "a secret: {text}");
            let records = text.lines().map(|line| serde_json::from_str(line).unwrap());
            let fields = ["principal", "operation", "outcome"];
            found = records
                .map(|record: Value| fields.map(|name| record[name].as_str().unwrap().to_owned()))
                .filter(|[_, _, outcome]| outcome == "denied" || outcome == "unauthenticated")
                .collect();
            match found.len() < number {
                true => Err(format!("{found:?}")),
                false => Ok(()),
            }
        });
        found
    }
}

impl Client<'_> {
    fn ipvsctl(&self, director: &Director, token: Option<&str>, line: &str) -> Output {
        let mut command = Command::new(IPVSCTL);
        command.args(["--endpoint", &director.endpoint]);
        command.arg("--ca").arg(self.folder.join("ca.pem"));
        match token {
            Some(token) => drop(command.env("IPVSCTL_TOKEN", token)),
            None => drop(command.env_remove("IPVSCTL_TOKEN")),
        }
        command.args(line.split_whitespace());
        self.namespace.run(|| command.output().unwrap())
    }

    /// With the certificate of the controller.
    fn controller(&self, director: &Director, line: &str) -> Output {
        let file = |name: &str| self.folder.join(name).to_str().unwrap().to_owned();
        let certificate = format!(
            "--cert {} --key {} ",
            file("controller.pem"),
            file("controller.key")
        );
        self.ipvsctl(director, None, &(certificate + line))
    }

    /// Runs a line of Python with `ipvs`, a stock gRPC client of the director with a token. Returns the
    /// name of the status.
    fn python(&self, director: &Director, token: &str, line: &str) -> String {
        let python = format!("{ROOT}/.cache/venv/bin/python");
        assert!(
            Path::new(&python).exists(),
            "no stock gRPC client: lab/install tests"
        );
        let script = format!(
            "import grpc, sys\n\
             sys.path.insert(0, '{ROOT}/tests')\n\
             from grpc_stock_client import Ipvs\n\
             roots = open('{}', 'rb').read()\n\
             credentials = grpc.ssl_channel_credentials(roots)\n\
             ipvs = Ipvs(grpc.secure_channel('{}', credentials))\n\
             try:\n    {line}\n    print('OK')\n\
             except grpc.RpcError as error:\n    print(error.code().name)\n",
            self.folder.join("ca.pem").display(),
            director.endpoint.trim_start_matches("https://"),
        );
        self.namespace.run(|| {
            let output = Command::new(python)
                .args(["-c", &script])
                .env("IPVSD_TEST_TOKEN", token)
                .output()
                .unwrap();
            let (out, error) = (output.stdout, String::from_utf8_lossy(&output.stderr));
            assert!(output.status.success(), "{error}");
            String::from_utf8(out).unwrap().trim().to_owned()
        })
    }
}

fn succeeds(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn is_refused(output: &Output, text: &str) {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && error.contains(text),
        "{output:?}"
    );
}

#[test]
fn on_three_directors_each_principal_does_what_it_may_and_nothing_else() {
    let folder = Folder(std::env::temp_dir().join(format!("ipvsd-access-{}", std::process::id())));
    fs::create_dir(&folder.0).unwrap();
    let place = folder.0.as_path();
    certify(place, "ca", &["--self-signed", "--ca"]);
    let uri = "spiffe://example.org/controller";
    certify(place, "controller", &["--client", "--name", uri]);
    fs::write(place.join("policy.toml"), policy()).unwrap();
    let remote = Namespace::new();
    let client = Client {
        namespace: &remote,
        folder: place,
    };
    for number in 1..=3 {
        let director = Director::start(number, &remote, place);
        let service = format!("192.0.2.{number}:80");

        // The controller, by its certificate: within its scope.
        let add = format!("-A -t {service} -s rr");
        succeeds(&client.controller(&director, &add));
        let server = format!("-a -t {service} -r 10.99.{number}.2:80 -m -w 1");
        succeeds(&client.controller(&director, &server));
        let outside = client.controller(&director, "-A -t 198.51.100.1:80 -s rr");
        is_refused(&outside, "scope");
        is_refused(&client.controller(&director, "-C"), "role admin");
        let table =
            format!("-A -t {service} -s rr\n-a -t {service} -r 10.99.{number}.2:80 -m -w 1\n");
        assert_eq!(director.namespace.save(), table);

        // The viewer, by its token.
        let listed = succeeds(&client.ipvsctl(&director, Some(VIEWER), "-S -n"));
        assert_eq!(listed, table);
        let delete = format!("-D -t {service}");
        is_refused(&client.ipvsctl(&director, Some(VIEWER), &delete), "role");

        // The operator, by a stock gRPC client with its token.
        let id = format!("tcp-192.0.2.{number}-80");
        let weigh = format!(
            "ipvs.UpdateServer(service='{id}', server={{'id': '10.99.{number}.2-80', 'weight': 7}})"
        );
        assert_eq!(client.python(&director, OPERATOR, &weigh), "OK");
        assert_eq!(director.namespace.save(), table.replace("-w 1", "-w 7"));
        let delete_service = format!("ipvs.DeleteService(id='{id}')");
        let denied = client.python(&director, OPERATOR, &delete_service);
        assert_eq!(denied, "PERMISSION_DENIED");
        let unknown = client.python(&director, "ipvsd_unknown", "ipvs.GetTimeouts()");
        assert_eq!(unknown, "UNAUTHENTICATED");

        // Nobody.
        let anonymous = client.ipvsctl(&director, None, "-Ln");
        is_refused(&anonymous, "credential");

        assert_eq!(director.namespace.save(), table.replace("-w 1", "-w 7"));
        let refusals = director.refusals(6);
        let has = |principal: &str, operation: &str| {
            refusals
                .iter()
                .any(|[who, what, _]| who == principal && what == operation)
        };
        for (principal, operation) in [
            ("controller", "create_service"),
            ("grafana", "delete_service"),
            ("oncall", "delete_service"),
            ("anonymous", "authenticate"),
        ] {
            assert!(
                has(principal, operation),
                "{principal} {operation}: {refusals:?}"
            );
        }
    }
}
