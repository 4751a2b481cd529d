//! Small HEC and syslog receivers with faults by name, for demos and tests.
