//! syslog-ng, set up as its manual has it, and otherwise as it comes.

use std::fs;

use tokio::process::Command;

use crate::daemon::Setup;
use crate::installed::Root;

/// The module that listens.
const MODULE: &str = "libafsocket.so";

/// Writes the configuration and says how to start it in the foreground.
///
/// Its `syslog()` source wants octet counting, and its `network()` source wants lines.
pub(crate) fn syslog_ng(setup: &Setup) -> Command {
    let Setup { folder, ports, certificates, transcript } = setup;
    let configuration = format!(
        r#"
@version: 3.35
options {{ keep-hostname(yes); use-dns(no); dns-cache(no); stats-freq(0); }};
source counted {{ syslog(ip("127.0.0.1") port({counted}) transport("tcp")); }};
source lines {{ network(ip("127.0.0.1") port({lines}) transport("tcp") flags(syslog-protocol)); }};
source tls {{
  syslog(ip("127.0.0.1") port({tls}) transport("tls")
    tls(cert-file("{certificate}") key-file("{key}") peer-verify(optional-untrusted)));
}};
destination parsed {{
  file("{transcript}" template("$(format-json
    app=\"$PROGRAM\" host=\"$HOST\" facility=\"$FACILITY_NUM\" severity=\"$LEVEL_NUM\"
    seconds=\"$S_UNIXTIME\" micros=\"$S_USEC\" id=\"${{.SDATA.forwarder@32473.id}}\" text=\"$MESSAGE\")\n"));
}};
log {{ source(counted); source(lines); source(tls); destination(parsed); flags(flow-control); }};
"#,
        transcript = transcript.display(),
        certificate = certificates.server.display(),
        key = certificates.key.display(),
        counted = ports.counted,
        lines = ports.lines,
        tls = ports.tls,
    );
    let file = folder.join("syslog-ng.conf");
    fs::write(&file, configuration).unwrap();

    let root = Root::with("syslog-ng", MODULE);
    let mut command = root.command("syslog-ng");
    command.args(["--foreground", "--no-caps", "--cfgfile"]).arg(file);
    command.arg("--module-path").arg(root.module(MODULE).unwrap());
    command.arg("--persist-file").arg(folder.join("syslog-ng.persist"));
    command.arg("--pidfile").arg(folder.join("syslog-ng.pid"));
    command.arg("--control").arg(folder.join("syslog-ng.ctl"));
    command
}
