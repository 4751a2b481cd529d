//! Delivery protocols: Splunk HEC, syslog, files.
