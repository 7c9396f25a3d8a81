//! TLS by the kernel (kTLS): after the handshake the socket itself encrypts and decrypts, and `sendfile` works over TLS.
//!
//! 1. [`is_offered`] asks once whether the kernel takes every suite that a server may agree on. If not, sessions stay in this
//!    process.
//! 2. The [`handshake`] is rustls's. It gets one record at a time and never a byte beyond: what the peer sends after its last
//!    record of the handshake is still in the socket, where the kernel finds it.
//! 3. Keys and counts of records go to the kernel, for both directions ([`enter`]).
//! 4. Whoever ends a session says so first ([`close_notify`]).
//!
//! What is not there: new keys in mid-session, which kernels have learnt late. A peer that changes its own is cut,
//! since a record that is not data makes a read fail, and ours serve for [`SESSION_BYTES_MAX`].

mod alert;

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

pub(crate) use alert::close_notify;
use nix::sys::socket::{SetSockOpt, setsockopt, sockopt, sockopt::TlsCryptoInfo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::rustls::{ConnectionTrafficSecrets, ProtocolVersion, ServerConfig, ServerConnection};

/// Bytes after which a session gives its last answer: 2^23 records, where AES-GCM may encrypt 2^24.5 with one key
/// (RFC 8446, section 5.5).
pub(crate) const SESSION_BYTES_MAX: u64 = 1 << 37;

/// Type, version and length of a record.
const RECORD_HEADER_BYTES: usize = 5;
/// Bytes of a record that one read takes.
const READ_BYTES: usize = 4 << 10;
/// Bytes of an initial vector; with AES-GCM the first four are the salt of all records, the others the first record's nonce.
const IV_BYTES: usize = 12;

/// Whether the kernel takes both versions with all ciphers that the servers of this crate have.
pub(crate) fn is_offered() -> bool {
    const KEY: [u8; 32] = [0; 32];
    let taken = |version, cipher: Cipher| {
        // A socket takes a cipher once, and only when it is connected.
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let socket = std::net::TcpStream::connect(listener.local_addr()?)?;
        let info = crypto_info(version, cipher, &KEY[..cipher.key_bytes()], &[0; IV_BYTES], 0)?;
        set(socket.as_fd(), sockopt::TcpUlp::default(), &ULP)?;
        set(socket.as_fd(), sockopt::TcpTlsTx, &info)?;
        set(socket.as_fd(), sockopt::TcpTlsRx, &info)
    };
    [ProtocolVersion::TLSv1_2, ProtocolVersion::TLSv1_3]
        .into_iter()
        .all(|version| Cipher::ALL.into_iter().all(|cipher| taken(version, cipher).is_ok()))
}

/// Agrees with a client, and lets the kernel go on.
///
/// # Errors
/// The client does not speak TLS, or not with us; the socket failed; the kernel refused.
pub(crate) async fn accept(config: Arc<ServerConfig>, stream: &mut TcpStream) -> io::Result<()> {
    // First, since the kernel takes it only as long as the peer has not closed its side. Without keys it changes nothing.
    set(stream.as_fd(), sockopt::TcpUlp::default(), &ULP)?;
    enter(handshake(config, stream).await?, stream.as_fd())
}

async fn handshake(config: Arc<ServerConfig>, stream: &mut TcpStream) -> io::Result<ServerConnection> {
    let mut session = ServerConnection::new(config).map_err(io::Error::other)?;
    while session.is_handshaking() {
        let read = read_record(&mut session, stream).await;
        // An alert that says what is wrong, too.
        let mut answer = Vec::new();
        while session.wants_write() {
            session.write_tls(&mut answer)?;
        }
        stream.write_all(&answer).await?;
        read?;
    }
    Ok(session)
}

/// Gives one record to the session.
async fn read_record(session: &mut ServerConnection, stream: &mut TcpStream) -> io::Result<()> {
    let mut header = [0; RECORD_HEADER_BYTES];
    stream.read_exact(&mut header).await?;
    take(session, &header)?;
    let mut left = usize::from(u16::from_be_bytes([header[3], header[4]]));
    let mut bytes = [0; READ_BYTES];
    while left > 0 {
        let part = &mut bytes[..left.min(READ_BYTES)];
        stream.read_exact(part).await?;
        take(session, part)?;
        left -= part.len();
    }
    Ok(())
}

fn take(session: &mut ServerConnection, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        session.read_tls(&mut bytes)?;
        session.process_new_packets().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    }
    Ok(())
}

/// Hands a session's keys to the kernel.
fn enter(session: ServerConnection, socket: BorrowedFd<'_>) -> io::Result<()> {
    let version = session.protocol_version().expect("the handshake is over");
    let secrets = session.dangerous_extract_secrets().map_err(io::Error::other)?;
    let (sent, received) = (info_of(version, &secrets.tx)?, info_of(version, &secrets.rx)?);
    set(socket, sockopt::TcpTlsTx, &sent)?;
    set(socket, sockopt::TcpTlsRx, &received)
}

const ULP: [u8; 3] = *b"tls";

fn set<O: SetSockOpt>(socket: BorrowedFd<'_>, option: O, value: &O::Val) -> io::Result<()> {
    setsockopt(&socket, option, value).map_err(io::Error::from)
}

#[derive(Clone, Copy)]
enum Cipher {
    Aes128Gcm,
    Aes256Gcm,
    Chacha20Poly1305,
}

impl Cipher {
    const ALL: [Self; 3] = [Self::Aes128Gcm, Self::Aes256Gcm, Self::Chacha20Poly1305];

    fn key_bytes(self) -> usize {
        match self {
            Self::Aes128Gcm => 16,
            Self::Aes256Gcm | Self::Chacha20Poly1305 => 32,
        }
    }
}

fn info_of(version: ProtocolVersion, secrets: &(u64, ConnectionTrafficSecrets)) -> io::Result<TlsCryptoInfo> {
    let (record, secrets) = secrets;
    let (cipher, key, iv) = match secrets {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (Cipher::Aes128Gcm, key, iv),
        ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (Cipher::Aes256Gcm, key, iv),
        ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (Cipher::Chacha20Poly1305, key, iv),
        _ => return Err(io::Error::other("a cipher that the kernel does not have")),
    };
    let iv = iv.as_ref().try_into().map_err(|_| io::Error::other("an initial vector is 12 bytes"))?;
    crypto_info(version, cipher, key.as_ref(), iv, *record)
}

/// A direction's key as the kernel takes it (`linux/tls.h`).
fn crypto_info(
    version: ProtocolVersion,
    cipher: Cipher,
    key: &[u8],
    iv: &[u8; IV_BYTES],
    record: u64,
) -> io::Result<TlsCryptoInfo> {
    let wrong = || io::Error::other(format!("a key of {} bytes, got {}", cipher.key_bytes(), key.len()));
    let info = |cipher_type| libc::tls_crypto_info { version: u16::from(version), cipher_type };
    let rec_seq = record.to_be_bytes();
    let (salt, nonce) = iv.split_at(4);
    let salt = salt.try_into().expect("4 of 12 bytes");
    let nonce = nonce.try_into().expect("8 of 12 bytes");
    Ok(match cipher {
        Cipher::Aes128Gcm => TlsCryptoInfo::Aes128Gcm(libc::tls12_crypto_info_aes_gcm_128 {
            info: info(libc::TLS_CIPHER_AES_GCM_128),
            iv: nonce,
            key: key.try_into().map_err(|_| wrong())?,
            salt,
            rec_seq,
        }),
        Cipher::Aes256Gcm => TlsCryptoInfo::Aes256Gcm(libc::tls12_crypto_info_aes_gcm_256 {
            info: info(libc::TLS_CIPHER_AES_GCM_256),
            iv: nonce,
            key: key.try_into().map_err(|_| wrong())?,
            salt,
            rec_seq,
        }),
        Cipher::Chacha20Poly1305 => TlsCryptoInfo::Chacha20Poly1305(libc::tls12_crypto_info_chacha20_poly1305 {
            info: info(libc::TLS_CIPHER_CHACHA20_POLY1305),
            iv: *iv,
            key: key.try_into().map_err(|_| wrong())?,
            salt: [],
            rec_seq,
        }),
    })
}
