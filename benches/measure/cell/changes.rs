//! Many single changes from concurrent clients.

use std::{fs, net::SocketAddr, time::Instant};

use anyhow::{Context, ensure};
use http::Method;

use super::{
    super::{
        grpc,
        http::Http,
        raw::{Mode, Raw},
        sample::milliseconds,
        table::{PORT, server_address, server_json, service_address, service_id},
        transport::Server,
    },
    Options, SCRATCH, block_on, run_command,
};

/// Concurrent clients.
const CLIENTS: u32 = 64;

impl Options {
    /// Adds servers one at a time, different ones for each contender, evenly over the services.
    pub(super) fn changes(&self, raw: &mut Raw) -> anyhow::Result<()> {
        raw.fill(self.size, Mode::Packed)?;
        let daemon = self.daemon()?;
        // The cost of a static server is the minimum of any server. It sends the response of ipvsd.
        let answer = format!("{SCRATCH}/json");
        block_on(async {
            let mut client = Http::connect(daemon.address).await?;
            let path = format!("/v1/services/{}/servers", service_id(0));
            let created = server_json(self.size.servers, 1);
            let created = client.answer(Method::POST, &path, created).await?;
            Ok(fs::write(&answer, created)?)
        })?;
        let mut wanted = self.size.services * self.size.servers + 1;
        let nothing = Server::start(&["nothing", "--json", &answer, "--proto", &answer])?;
        let mut contenders = ["raw", "ipvsadm", "ipvsctl", "http", "grpc", "nothing-http"];
        if self.round.is_multiple_of(2) {
            contenders.reverse();
        }
        for (place, contender) in contenders.into_iter().enumerate() {
            let first = 10_000 * (place as u32 + 1);
            let begin = Instant::now();
            let done = match contender {
                "raw" => {
                    for change in 0..self.changes {
                        raw.add_server(change % self.size.services, first + change)?;
                    }
                    self.changes
                }
                "http" | "grpc" => {
                    let over_grpc = contender == "grpc";
                    block_on(self.concurrently(daemon.address, over_grpc, first))?;
                    self.changes
                }
                "nothing-http" => {
                    block_on(self.concurrently(nothing.address, false, first))?;
                    self.changes
                }
                "ipvsctl" if !self.has_ipvsctl() => 0,
                "ipvsctl" => {
                    self.processes(self.ipvsctl.to_str().context("a path in UTF-8")?, first)?
                }
                program => self.processes(program, first)?,
            };
            let time = milliseconds(begin.elapsed());
            if done > 0 {
                let scale = f64::from(self.changes) / f64::from(done);
                self.sample("changes", contender, time * scale);
            }
            wanted += if contender == "nothing-http" { 0 } else { done };
            let (_, found) = raw.dump()?;
            ensure!(found == wanted, "{contender}: {found} of {wanted} servers");
        }
        Ok(())
    }

    /// Runs one process per change, sequentially. Returns their number.
    fn processes(&self, program: &str, first: u32) -> anyhow::Result<u32> {
        for change in 0..self.processes {
            let service = service_address(change % self.size.services);
            let server = server_address(first + change);
            let (service, server) = (format!("{service}:{PORT}"), format!("{server}:{PORT}"));
            let arguments = ["-a", "-t", &service, "-r", &server, "-m", "-w", "1"];
            run_command(program, &arguments)?;
        }
        Ok(self.processes)
    }

    /// Sends changes from many clients, each with its own connection, connecting included.
    async fn concurrently(
        &self,
        address: SocketAddr,
        grpc: bool,
        first: u32,
    ) -> anyhow::Result<()> {
        let (changes, services) = (self.changes, self.size.services);
        let mut clients = tokio::task::JoinSet::new();
        for client in 0..CLIENTS {
            clients.spawn(async move {
                let mine = (client..changes).step_by(CLIENTS as usize);
                if grpc {
                    let mut connection = grpc::connect(address).await?;
                    for change in mine {
                        let request = ipvsd::proto::v1::CreateServerRequest {
                            service: service_id(change % services),
                            server: Some(grpc::server(first + change, 1)),
                            ..Default::default()
                        };
                        connection.create_server(request).await?;
                    }
                } else {
                    let mut connection = Http::connect(address).await?;
                    for change in mine {
                        let path =
                            format!("/v1/services/{}/servers", service_id(change % services));
                        let body = server_json(first + change, 1);
                        connection.write(Method::POST, &path, body).await?;
                    }
                }
                anyhow::Ok(())
            });
        }
        while let Some(client) = clients.join_next().await {
            client??;
        }
        Ok(())
    }
}
