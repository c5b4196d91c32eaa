"""A vault on another machine, over SFTP. paramiko stays in this folder."""

from targets.vaults.sftp.vault import SftpVault

__all__ = ["SftpVault"]
