"""Other packages' names over zerowait, so that their users' scripts run by changing an import."""
