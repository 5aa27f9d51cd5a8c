//! Selects the daemon that a command addresses.

use super::{
    config::{Config, Director},
    credentials::{Credentials, Source},
    environment::Environment,
    error::CliError,
    options::Options,
};
use crate::{
    client::{Client, ClientError, ClientOptions, Endpoint},
    version::VERSION,
};

/// A daemon.
#[derive(Debug)]
pub(super) struct Target {
    /// Name of the director, if it is selected by its name.
    pub name: Option<String>,
    pub client: Client,
}

/// The endpoints of this machine.
#[derive(Clone, Debug)]
struct Local {
    socket: Endpoint,
    port: Endpoint,
}

// === impl Target ===

impl Target {
    /// Selects the daemon by, in this order: `--endpoint`, `--director`, the environment, the
    /// configured default, the local socket, the local port.
    pub(super) fn select(options: &Options) -> Result<Self, CliError> {
        let environment = Environment::load()?;
        if let Some(endpoint) = &options.endpoint {
            return Self::at(endpoint.parse()?, options, environment.credentials);
        }
        if let Some(name) = &options.director {
            let config = Config::load(&environment)?;
            return Self::named(
                name,
                config.director(name)?,
                options,
                environment.credentials,
            );
        }
        if let Some(endpoint) = environment.endpoint()? {
            return Self::at(endpoint, options, environment.credentials);
        }
        let config = Config::load(&environment)?;
        if let Some(name) = &config.default {
            return Self::named(
                name,
                config.director(name)?,
                options,
                environment.credentials,
            );
        }
        Self::local(options, environment.credentials, Local::default())
    }

    /// The directors of a command: all configured ones, or the selected one.
    pub(super) fn of(options: &Options) -> Result<Vec<Self>, CliError> {
        match options.all {
            true => Self::all(options),
            false => Ok(vec![Self::select(options)?]),
        }
    }

    /// All configured directors.
    pub(super) fn all(options: &Options) -> Result<Vec<Self>, CliError> {
        let environment = Environment::load()?;
        let config = Config::load(&environment)?;
        if config.directors.is_empty() {
            return Err(CliError::NoDirectors);
        }
        config
            .directors
            .iter()
            .map(|(name, director)| {
                Self::named(name, director, options, environment.credentials.clone())
            })
            .collect()
    }

    fn at(endpoint: Endpoint, options: &Options, lower: Credentials) -> Result<Self, CliError> {
        let client_options = client_options(&endpoint, options, lower)?;
        let client = Client::with_options(endpoint, client_options)?;
        Ok(Self { name: None, client })
    }

    /// The option of ipvsctl that selects this daemon.
    pub(super) fn selector(&self) -> String {
        match &self.name {
            Some(name) => format!("--director {name}"),
            None => format!("--endpoint {}", self.client.endpoint()),
        }
    }

    /// A configured director, with the credentials of the environment.
    pub(super) fn named(
        name: &str,
        director: &Director,
        options: &Options,
        environment: Credentials,
    ) -> Result<Self, CliError> {
        let lower = environment.for_director(director.credentials());
        let endpoint = director.endpoint.clone();
        let mut client_options = client_options(&endpoint, options, lower)?;
        if let Some(timeout) = director.timeout.filter(|_| options.timeout.is_none()) {
            client_options.timeout = timeout;
        }
        Ok(Self {
            name: Some(name.to_owned()),
            client: Client::with_options(endpoint, client_options)?,
        })
    }

    /// The daemon of this machine. A token is not sent to a port that the user has not named: any user of
    /// this machine may listen there while the daemon does not. That the socket refuses this user is an error,
    /// because the port needs a token.
    fn local(options: &Options, lower: Credentials, local: Local) -> Result<Self, CliError> {
        let client_options = client_options(&local.socket, options, lower)?;
        let has_token = client_options.token.is_some();
        for endpoint in [&local.socket, &local.port] {
            let client = Client::with_options(endpoint.clone(), client_options.clone())?;
            match client.probe() {
                Ok(()) => return Ok(Self { name: None, client }),
                Err(source @ (ClientError::Denied { .. } | ClientError::Connect { .. }))
                    if has_token =>
                {
                    let address = local.port.to_string();
                    return Err(CliError::UnnamedPort { source, address });
                }
                Err(ClientError::Connect { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(CliError::NoDirector {
            socket: local.socket.to_string(),
            address: local.port.to_string(),
        })
    }
}

/// Options for an endpoint. `lower` are the credentials of lower precedence than the command line's.
fn client_options(
    endpoint: &Endpoint,
    options: &Options,
    lower: Credentials,
) -> Result<ClientOptions, CliError> {
    options.credentials.check(Source::CommandLine)?;
    options.credentials.check_endpoint(endpoint)?;
    let mut client_options = options.credentials.clone().or(lower).client_options()?;
    if let Some(timeout) = options.timeout {
        client_options.timeout = timeout;
    }
    client_options.user_agent = format!("ipvsctl/{VERSION}");
    Ok(client_options)
}

// === impl Local ===

impl Default for Local {
    fn default() -> Self {
        Self {
            socket: Endpoint::Unix(Endpoint::SOCKET.into()),
            port: Endpoint::Tcp {
                host: "127.0.0.1".to_owned(),
                port: Endpoint::PORT,
                tls: false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that panics fails")]

    use std::{
        fs::{self, Permissions},
        net::TcpListener,
        os::unix::{fs::PermissionsExt, net::UnixListener},
        path::PathBuf,
    };

    use super::*;

    /// A directory for a socket, and a port that accepts.
    struct Machine {
        directory: PathBuf,
        listener: TcpListener,
    }

    impl Machine {
        fn new(name: &str) -> Self {
            let name = format!("ipvsctl-{}-local-{name}", std::process::id());
            let directory = std::env::temp_dir().join(name);
            fs::create_dir_all(&directory).unwrap();
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            Self {
                directory,
                listener,
            }
        }

        fn socket(&self) -> PathBuf {
            self.directory.join("socket")
        }

        fn select(&self, token: Option<&str>) -> Result<String, CliError> {
            let credentials = Credentials {
                token: token.map(|token| token.parse().unwrap()),
                ..Credentials::default()
            };
            let local = Local {
                socket: Endpoint::Unix(self.socket()),
                port: format!("http://{}", self.listener.local_addr().unwrap()).parse()?,
            };
            let target = Target::local(&Options::default(), credentials, local)?;
            Ok(target.client.endpoint().to_string())
        }
    }

    impl Drop for Machine {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.directory);
        }
    }

    #[test]
    fn the_socket_is_used_if_it_accepts_and_the_port_otherwise() {
        let machine = Machine::new("accepts");
        let is_port = |selected: String| selected.starts_with("http://127.0.0.1:");
        assert!(is_port(machine.select(None).unwrap()), "no socket");
        let listener = UnixListener::bind(machine.socket()).unwrap();
        let socket = format!("unix://{}", machine.socket().display());
        assert_eq!(machine.select(None).unwrap(), socket);
        drop(listener);
        assert!(is_port(machine.select(None).unwrap()), "nobody listens");
    }

    #[test]
    fn a_token_is_not_sent_to_a_port_that_is_not_named() {
        let machine = Machine::new("unnamed");
        let refused = |reason: &str| {
            let error = machine.select(Some("secret")).unwrap_err();
            let text = crate::cli::hints::describe(&error);
            let address = format!("http://{}", machine.listener.local_addr().unwrap());
            for part in [reason, &format!("--endpoint {address}"), "IPVSCTL_ENDPOINT"] {
                assert!(text.contains(part), "{text}");
            }
            assert!(!text.contains("secret"), "{text}");
        };
        refused("No such file");
        let listener = UnixListener::bind(machine.socket()).unwrap();
        let socket = format!("unix://{}", machine.socket().display());
        assert_eq!(machine.select(Some("secret")).unwrap(), socket);
        drop(listener);
        refused("refused");
        machine.listener.set_nonblocking(true).unwrap();
        let connection = machine.listener.accept().unwrap_err();
        assert_eq!(connection.kind(), std::io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_socket_that_refuses_this_user_is_an_error() {
        let machine = Machine::new("refuses");
        let _listener = UnixListener::bind(machine.socket()).unwrap();
        fs::set_permissions(machine.socket(), Permissions::from_mode(0o0)).unwrap();
        // Root may connect to any socket; the user of this thread's accesses to files may not.
        let select = |token| {
            nix::unistd::setfsuid(nix::unistd::Uid::from_raw(65534));
            machine.select(token)
        };
        std::thread::scope(|scope| {
            for token in [None, Some("t")] {
                let error = scope
                    .spawn(move || select(token))
                    .join()
                    .unwrap()
                    .unwrap_err();
                let text = crate::cli::hints::describe(&error);
                let remedy = match token {
                    None => "`usermod -aG ipvsd USER`",
                    Some(_) => "name it: --endpoint http://127.0.0.1:",
                };
                for part in ["permission denied", remedy, "--endpoint http://127.0.0.1:"] {
                    assert!(text.contains(part), "{text}");
                }
            }
        });
    }
}
