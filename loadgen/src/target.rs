// SPDX-License-Identifier: Apache-2.0
//! Where the load goes: this host, and nowhere else.

use std::cell::Cell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use http::Uri;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

/// Where requests go and from where; the same for each command.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct TargetArguments {
    /// http:// or https://, on this host
    #[arg(long)]
    url: String,
    /// The name that is asked for (Host, SNI), where it is not the URL's.
    #[arg(long)]
    host: Option<String>,
    /// The address to come from: 127.0.0.2.
    #[arg(long)]
    source: Option<Ipv4Addr>,
    /// How many addresses, from --source on, take turns.
    #[arg(long, default_value_t = 1)]
    sources: u32,
}

#[cfg(test)]
impl TargetArguments {
    pub(crate) fn set(&mut self, host: &str, source: Ipv4Addr) {
        self.host = Some(host.to_owned());
        self.source = Some(source);
    }
}

/// A stream to the target, plain or TLS.
pub(crate) type Stream = Box<dyn Io>;

/// What a connection can do.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    address: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
    host: String,
    path: String,
    sources: Sources,
}

#[derive(Clone, Debug)]
struct Sources {
    first: Option<Ipv4Addr>,
    count: u32,
    next: Rc<Cell<u32>>,
}

/// How a connection is to be.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shape {
    /// Bytes of the receive buffer; 0: the system's choice.
    pub(crate) receive_buffer: u32,
    /// Reset at the end: leaves no port waiting here, and is what an attacker does.
    pub(crate) reset_at_end: bool,
}

impl Target {
    pub(crate) fn new(arguments: &TargetArguments, http2: bool) -> Result<Self> {
        let uri: Uri = arguments.url.parse().with_context(|| format!("`{}` is no URL", arguments.url))?;
        let (is_tls, port) = match uri.scheme_str() {
            Some("http") => (false, 80),
            Some("https") => (true, 443),
            _ => bail!("`{}`: neither http:// nor https://", arguments.url),
        };
        let name = uri.host().context("the URL names no host")?;
        let ip = this_host(name)?;
        if arguments.sources == 0 || arguments.sources > 65_536 {
            bail!("between 1 and 65,536 sources");
        }
        let last =
            |source: Ipv4Addr| Ipv4Addr::from_bits(source.to_bits().wrapping_add(arguments.sources - 1));
        if arguments.source.is_some_and(|source| !source.is_loopback() || !last(source).is_loopback()) {
            bail!("the sources must be of 127.0.0.0/8");
        }
        let protocol: &[u8] = if http2 { b"h2" } else { b"http/1.1" };
        Ok(Self {
            address: SocketAddr::new(ip, uri.port_u16().unwrap_or(port)),
            tls: is_tls.then(|| tls_config(protocol)),
            host: arguments.host.clone().unwrap_or_else(|| name.to_owned()),
            path: uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string),
            sources: Sources { first: arguments.source, count: arguments.sources, next: Rc::default() },
        })
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    pub(crate) const fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    pub(crate) const fn tls_config(&self) -> Option<&Arc<ClientConfig>> {
        self.tls.as_ref()
    }

    pub(crate) const fn scheme(&self) -> &'static str {
        if self.is_tls() { "https" } else { "http" }
    }

    /// A TCP connection, whatever is spoken on it.
    pub(crate) async fn connect_tcp(&self, shape: Shape) -> io::Result<TcpStream> {
        let socket = if self.address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if let Some(source) = self.sources.next().filter(|_| self.address.is_ipv4()) {
            socket.bind(SocketAddr::new(source.into(), 0))?;
        }
        if shape.receive_buffer > 0 {
            socket.set_recv_buffer_size(shape.receive_buffer)?;
        }
        if shape.reset_at_end {
            SockRef::from(&socket).set_linger(Some(Duration::ZERO))?;
        }
        let stream = socket.connect(self.address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// A connection that is ready for a request.
    pub(crate) async fn connect(&self, shape: Shape) -> io::Result<Stream> {
        let stream = self.connect_tcp(shape).await?;
        let Some(tls) = &self.tls else { return Ok(Box::new(stream)) };
        let name = ServerName::try_from(self.host.clone()).map_err(io::Error::other)?;
        Ok(Box::new(TlsConnector::from(Arc::clone(tls)).connect(name, stream).await?))
    }
}

impl Sources {
    fn next(&self) -> Option<Ipv4Addr> {
        let step = self.next.get();
        self.next.set((step + 1) % self.count);
        self.first.map(|first| Ipv4Addr::from_bits(first.to_bits().wrapping_add(step)))
    }
}

/// The address of `name`, which must be this host's own: floods against others are no figures.
fn this_host(name: &str) -> Result<IpAddr> {
    let ip = match name {
        "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        name => name.trim_matches(['[', ']']).parse().with_context(|| {
            format!(
                "`{name}` is neither localhost nor a loopback address: this tool speaks to its own host only"
            )
        })?,
    };
    if !ip.is_loopback() {
        bail!("{ip} is not a loopback address: this tool speaks to its own host only");
    }
    Ok(ip)
}

fn tls_config(protocol: &[u8]) -> Arc<ClientConfig> {
    let mut config = ClientConfig::builder()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(NoVerification))
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    // Each new connection is a whole handshake.
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

/// Test certificates on this host: nothing is verified, and no time is spent on it.
#[derive(Debug)]
struct NoVerification;

impl ServerCertVerifier for NoVerification {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        CryptoProvider::get_default()
            .map(|provider| provider.signature_verification_algorithms.supported_schemes())
            .unwrap_or_default()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn arguments(url: &str) -> TargetArguments {
        TargetArguments { url: url.to_owned(), host: None, source: None, sources: 1 }
    }

    #[test]
    fn only_this_host_is_a_target() {
        for (name, url, want) in [
            ("loopback", "http://127.0.0.1:8080/", true),
            ("all of 127.0.0.0/8", "http://127.9.9.9/", true),
            ("by name", "http://localhost:1/x?y", true),
            ("IPv6", "http://[::1]:8080/", true),
            ("another host", "http://192.0.2.1/", false),
            ("a private network is another host too", "http://10.0.0.1/", false),
            ("every address of this host", "http://0.0.0.0/", false),
            ("mapped", "http://[::ffff:192.0.2.1]/", false),
            ("a name that may lead anywhere", "http://example.org/", false),
            ("a name that only looks local", "http://localhost.example.org/", false),
            ("no scheme", "127.0.0.1:80", false),
            ("another scheme", "ftp://127.0.0.1/", false),
        ] {
            assert_eq!(Target::new(&arguments(url), false).is_ok(), want, "{name}: {url}");
        }
    }

    #[test]
    fn the_source_is_of_this_host_too_and_takes_turns() {
        let mut given = arguments("http://127.0.0.1/");
        given.source = Some(Ipv4Addr::new(192, 0, 2, 1));
        assert!(Target::new(&given, false).is_err());
        given.source = Some(Ipv4Addr::new(127, 0, 0, 255));
        given.sources = 2;
        let target = Target::new(&given, false).unwrap();
        let turns: Vec<_> = (0..3).filter_map(|_| target.sources.next()).map(|ip| ip.to_string()).collect();
        assert_eq!(turns, ["127.0.0.255", "127.0.1.0", "127.0.0.255"]);
    }
}
