"""A certificate that is always the same."""

SOME_CERTIFICATE = (
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBHTCBxKADAgECAgEBMAoGCCqGSM49BAMCMA0xCzAJBgNVBAMMAkNBMCAXDTI0\n"
    "MDEwMTAwMDAwMFoYDzIxMjQwMTAxMDAwMDAwWjANMQswCQYDVQQDDAJDQTBZMBMG\n"
    "ByqGSM49AgEGCCqGSM49AwEHA0IABExdZYRJ9CjR+7VZdd92mi3tkJWQAhJBX/yn\n"
    "kHW5zfCF0kbvw5+OKRSVsTX4XCYSK/PKkkCAqM4LSA+oeBIw8aWjEzARMA8GA1Ud\n"
    "EwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSAAwRQIhAOaWzh9Le/F1efm+uxLlMTbn\n"
    "34haweufyPF0GAlHY5geAiAfvoDrB4GYntBN1Ab14VClvMcT1oqearG3ovNInRDn\n"
    "sQ==\n"
    "-----END CERTIFICATE-----\n"
)
"""A certificate that can be read and that nothing is signed by, always the same: for forms and documents."""
