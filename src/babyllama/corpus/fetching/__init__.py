"""Official data: where it is, downloaded, verified and unpacked safely."""
