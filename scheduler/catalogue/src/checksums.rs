//! What stores' checksums mean in digests: the CRC-64/NVME of bytes whose BLAKE3 is known, for the worker.

use crate::Catalogue;
use crate::error::CatalogueError;
use crate::row::unhex;

impl Catalogue {
    /// Keeps the checksums of bytes, each with their BLAKE3 in hexadecimal. What is kept already stays.
    ///
    /// # Errors
    /// [`CatalogueError`] if a digest is none, or the database fails.
    pub async fn keep_checksums(&self, pairs: &[(String, u64)]) -> Result<(), CatalogueError> {
        if pairs.is_empty() {
            return Ok(());
        }
        let mut tx = self.write().await?;
        for (blake3, crc64nvme) in pairs {
            sqlx::query("INSERT INTO checksums (blake3, crc64nvme) VALUES (?, ?) ON CONFLICT DO NOTHING")
                .bind(unhex(blake3)?.as_slice())
                .bind(crc64nvme.cast_signed())
                .execute(&mut *tx)
                .await?;
        }
        Ok(tx.commit().await?)
    }

    /// The checksum of the bytes with this BLAKE3, if it is kept.
    ///
    /// # Errors
    /// [`CatalogueError`] if the digest is none, or the database fails.
    pub async fn checksum(&self, blake3: &str) -> Result<Option<u64>, CatalogueError> {
        let mut tx = self.read().await?;
        let kept: Option<(i64,)> = sqlx::query_as("SELECT crc64nvme FROM checksums WHERE blake3 = ?")
            .bind(unhex(blake3)?.as_slice())
            .fetch_optional(&mut *tx)
            .await?;
        Ok(kept.map(|(crc64nvme,)| crc64nvme.cast_unsigned()))
    }
}
