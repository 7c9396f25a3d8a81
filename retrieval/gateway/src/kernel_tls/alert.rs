//! The one record that no safe interface sends on a socket that encrypts: the alert that ends a session. The only `unsafe` of
//! this crate.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Tells the peer that nothing more comes (RFC 8446, section 6.1). Without an answer if the socket takes nothing.
pub(crate) fn close_notify(socket: BorrowedFd<'_>) -> io::Result<()> {
    const WARNING_CLOSE_NOTIFY: [u8; 2] = [1, 0];
    const ALERT: u8 = 21;
    const CONTROL_BYTES: usize = 24;

    #[repr(C, align(8))]
    struct Control([u8; CONTROL_BYTES]);

    let mut alert = WARNING_CLOSE_NOTIFY;
    let mut control = Control([0; CONTROL_BYTES]);
    let mut part = libc::iovec { iov_base: alert.as_mut_ptr().cast(), iov_len: alert.len() };
    // SAFETY: `msghdr` is a plain C structure; all zeros is a valid one, without an address, data or control bytes.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut control).cast();
    // SAFETY: a computation of lengths.
    message.msg_controllen = unsafe { libc::CMSG_SPACE(1) } as usize;
    assert!(message.msg_controllen <= CONTROL_BYTES, "one byte of control data with its header");
    // SAFETY: `control` has the room that `msg_controllen` says (asserted above) and the alignment of a `cmsghdr`, so that the
    // first header and its one byte of data lie within it.
    unsafe {
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_TLS;
        (*header).cmsg_type = libc::TLS_SET_RECORD_TYPE;
        (*header).cmsg_len = libc::CMSG_LEN(1) as usize;
        *libc::CMSG_DATA(header) = ALERT;
    }
    let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
    // SAFETY: the descriptor is open as long as it is borrowed; `message` and all that it points to live until the call returns.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, flags) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
