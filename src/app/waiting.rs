//! Who is answered while the site waits for a store that it cannot start without: S3 clients are told to come again, health
//! says what is waited for.

use std::convert::Infallible;
use std::os::fd::AsFd;

use anyhow::{Context, Result};
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing::{info, warn};

use super::ADMIN_CONNECTIONS;
use super::server::Server;
use crate::tls::Acceptor;
use crate::{admin, s3};

/// A listener that the site is going to have.
#[derive(Debug)]
pub struct Door<'a> {
    listener: &'a TcpListener,
    tls: Option<Acceptor>,
}

/// Opens when somebody has to wait.
#[derive(Debug)]
pub struct WaitingRoom<'a> {
    s3: Door<'a>,
    admin: Door<'a>,
    /// What is waited for, for people.
    reasons: watch::Sender<Vec<String>>,
    open: Vec<Server>,
}

impl<'a> WaitingRoom<'a> {
    pub fn new(s3: Door<'a>, admin: Door<'a>) -> Self {
        Self { s3, admin, reasons: watch::Sender::new(Vec::new()), open: Vec::new() }
    }

    /// Answers from now on; `reasons` say what is waited for.
    pub fn wait_for(&mut self, reasons: Vec<String>) -> Result<()> {
        if *self.reasons.borrow() != reasons {
            warn!(reason = reasons.join("; "), "cannot serve yet: waiting for a store");
            self.reasons.send_replace(reasons);
        }
        if self.open.is_empty() {
            let refuse = service_fn(|_: Request<Incoming>| async { Ok::<_, Infallible>(s3::not_yet()) });
            let health = TowerToHyperService::new(admin::waiting(self.reasons.subscribe()));
            self.open.push(Server::start(self.s3.twin()?, self.s3.tls.clone(), refuse, ADMIN_CONNECTIONS)?);
            self.open.push(Server::start(self.admin.twin()?, self.admin.tls.clone(), health, ADMIN_CONNECTIONS)?);
        }
        Ok(())
    }

    /// Leaves the listeners to the site.
    pub async fn close(self) {
        if !self.open.is_empty() {
            info!("the store that was waited for is there");
        }
        for server in self.open {
            server.stop().await;
        }
    }
}

impl<'a> Door<'a> {
    pub fn of(listener: &'a TcpListener, tls: &Option<Acceptor>) -> Self {
        Self { listener, tls: tls.clone() }
    }

    /// The same listener again: connections that nobody took stay for whoever comes after.
    fn twin(&self) -> Result<TcpListener> {
        let twin = self.listener.as_fd().try_clone_to_owned().context("cannot share a listener")?;
        TcpListener::from_std(twin.into()).context("cannot share a listener")
    }
}
