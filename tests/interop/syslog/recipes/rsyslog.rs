//! rsyslog, set up as the manual of its modules has it, and otherwise as it comes.

use std::fs;

use tokio::process::Command;

use crate::daemon::Setup;
use crate::installed::Root;

/// Its TLS driver, a package of its own in Debian.
const DRIVER: &str = "lmnsd_ossl.so";

/// Writes the configuration and says how to start it in the foreground.
///
/// `mmpstrucdata` makes rsyslog itself take the structured data apart. Control characters are kept: by default
/// rsyslog spells them out as `#011` on arrival, before it is processed. imtcp finds out by itself, for
/// each message, which framing it has.
///
/// The queue is short because what rsyslog has read and not yet written dies with it, and the forwarder repeats
/// 4 MiB: the 100,000 messages that rsyslog holds in memory unless it is configured otherwise are ten times that.
pub(crate) fn rsyslog(setup: &Setup) -> Command {
    let Setup { folder, ports, certificates, transcript } = setup;
    let ca = certificates.authority.display();
    let certificate = certificates.server.display();
    let key = certificates.key.display();
    let configuration = format!(
        r#"
global(
  workDirectory="{folder}"
  net.enableDNS="off"
  parser.escapeControlCharactersOnReceive="off"
  defaultNetstreamDriverCAFile="{ca}"
  defaultNetstreamDriverCertFile="{certificate}"
  defaultNetstreamDriverKeyFile="{key}"
)
main_queue(queue.size="1000")
module(load="imtcp")
module(load="mmpstrucdata")

template(name="parsed" type="list" option.jsonf="on") {{
  property(outname="app"      name="app-name"       format="jsonf")
  property(outname="host"     name="hostname"       format="jsonf")
  property(outname="facility" name="syslogfacility" format="jsonf")
  property(outname="severity" name="syslogseverity" format="jsonf")
  property(outname="seconds"  name="timereported" dateFormat="unixtimestamp" format="jsonf")
  property(outname="micros"   name="timereported" dateFormat="subseconds"    format="jsonf")
  property(outname="id"       name="$!rfc5424-sd!forwarder@32473!id"         format="jsonf")
  property(outname="text"     name="msg"            format="jsonf")
}}
ruleset(name="received") {{
  action(type="mmpstrucdata")
  action(type="omfile" file="{transcript}" template="parsed")
}}

input(type="imtcp" ruleset="received" address="127.0.0.1" port="{counted}")
input(type="imtcp" ruleset="received" address="127.0.0.1" port="{lines}")
input(type="imtcp" ruleset="received" address="127.0.0.1" port="{tls}"
      streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="anon")
"#,
        folder = folder.display(),
        transcript = transcript.display(),
        counted = ports.counted,
        lines = ports.lines,
        tls = ports.tls,
    );
    let file = folder.join("rsyslog.conf");
    fs::write(&file, configuration).unwrap();

    let root = Root::with("rsyslogd", DRIVER);
    let mut command = root.command("rsyslogd");
    command.arg("-n").arg("-f").arg(file).arg("-i").arg(folder.join("rsyslog.pid"));
    command.arg("-M").arg(root.module(DRIVER).unwrap());
    command
}
