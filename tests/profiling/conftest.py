"""What the tests of profiling print at the end."""


def pytest_terminal_summary(terminalreporter):
    """Precision and recall of the planted faults, where they were profiled."""
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            for name, value in report.user_properties:
                if name == "planted faults":
                    terminalreporter.write_line(f"{name}: {value}")
