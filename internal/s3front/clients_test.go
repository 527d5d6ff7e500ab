package s3front

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awscredentials "github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// awsClient is the SDK at its defaults, which are those of its configuration
// files: only endpoint, region and keys are given.
func awsClient(addr, access string, secret Secret) *s3.Client {
	return s3.New(s3.Options{Region: Region, BaseEndpoint: aws.String("http://" + addr), UsePathStyle: true,
		Credentials: awscredentials.NewStaticCredentialsProvider(access, secret.Reveal(), "")})
}

func minioClient(t *testing.T, addr, access string, secret Secret) *minio.Client {
	t.Helper()
	c, err := minio.New(addr, &minio.Options{Creds: credentials.NewStaticV4(access, secret.Reveal(), "")})
	if err != nil {
		t.Fatal(err)
	}
	return c
}
