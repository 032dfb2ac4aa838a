// The AWS SDK for Go v2 as compat-tests/driver.py drives it: one JSON request a line, one JSON answer a line.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
)

type request struct {
	Do, Bucket, Key, From, File, Type, Prefix string
	Keys                                      []string
	Metadata                                  map[string]string
	IfMatch                                   *string `json:"if_match"`
	IfNoneMatch                               *string `json:"if_none_match"`
	Range                                     *string
	Delimiter                                 *string
	Part                                      int64
	Threads, Steps                            int
}

type answer map[string]any

var ctx = context.Background()

func main() {
	client := s3.New(s3.Options{
		BaseEndpoint:     aws.String(os.Getenv("AWS_ENDPOINT_URL")),
		Region:           os.Getenv("AWS_REGION"),
		Credentials:      credentials.NewStaticCredentialsProvider(os.Getenv("AWS_ACCESS_KEY_ID"), os.Getenv("AWS_SECRET_ACCESS_KEY"), ""),
		UsePathStyle:     true,
		RetryMaxAttempts: 1,
	})
	lines, out := bufio.NewReader(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var asked request
		if err := json.Unmarshal(line, &asked); err != nil {
			panic(err)
		}
		said, err := perform(client, asked)
		if err != nil {
			said = refusal(err)
		}
		out.Encode(said)
	}
}

func perform(client *s3.Client, r request) (answer, error) {
	switch r.Do {
	case "create_bucket":
		_, err := client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &r.Bucket})
		return answer{}, err
	case "delete_bucket":
		_, err := client.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: &r.Bucket})
		return answer{}, err
	case "put":
		return put(client, r)
	case "get":
		return get(client, r)
	case "head":
		return head(client, r)
	case "list":
		return list(client, r)
	case "upload":
		return upload(client, r)
	case "copy":
		done, err := client.CopyObject(ctx, &s3.CopyObjectInput{Bucket: &r.Bucket, Key: &r.Key, CopySource: aws.String(r.From)})
		if err != nil {
			return nil, err
		}
		return answer{"etag": done.CopyObjectResult.ETag}, nil
	case "delete":
		_, err := client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &r.Bucket, Key: &r.Key})
		return answer{}, err
	case "delete_many":
		return deleteMany(client, r)
	case "presign":
		signed, err := s3.NewPresignClient(client).PresignGetObject(ctx, &s3.GetObjectInput{Bucket: &r.Bucket, Key: &r.Key})
		if err != nil {
			return nil, err
		}
		return answer{"url": signed.URL}, nil
	case "count":
		return count(client, r)
	}
	return nil, errors.New("unknown request " + r.Do)
}

func put(client *s3.Client, r request) (answer, error) {
	body, err := os.Open(r.File)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	done, err := client.PutObject(ctx, &s3.PutObjectInput{
		Bucket: &r.Bucket, Key: &r.Key, Body: body, ContentType: &r.Type, Metadata: r.Metadata, IfMatch: r.IfMatch, IfNoneMatch: r.IfNoneMatch,
	})
	if err != nil {
		return nil, err
	}
	return answer{"etag": done.ETag}, nil
}

func get(client *s3.Client, r request) (answer, error) {
	got, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: &r.Bucket, Key: &r.Key, Range: r.Range})
	if err != nil {
		return nil, err
	}
	defer got.Body.Close()
	file, err := os.Create(r.File)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if _, err := io.Copy(file, got.Body); err != nil {
		return nil, err
	}
	return answer{"etag": got.ETag, "size": got.ContentLength, "type": got.ContentType, "metadata": got.Metadata}, nil
}

func head(client *s3.Client, r request) (answer, error) {
	got, err := client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &r.Bucket, Key: &r.Key})
	if err != nil {
		return nil, err
	}
	return answer{"etag": got.ETag, "size": got.ContentLength, "type": got.ContentType, "metadata": got.Metadata}, nil
}

func list(client *s3.Client, r request) (answer, error) {
	keys, prefixes := []string{}, []string{}
	pages := s3.NewListObjectsV2Paginator(client, &s3.ListObjectsV2Input{Bucket: &r.Bucket, Prefix: &r.Prefix, Delimiter: r.Delimiter})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, entry := range page.Contents {
			keys = append(keys, *entry.Key)
		}
		for _, entry := range page.CommonPrefixes {
			prefixes = append(prefixes, *entry.Prefix)
		}
	}
	return answer{"keys": keys, "prefixes": prefixes}, nil
}

func upload(client *s3.Client, r request) (answer, error) {
	body, err := os.Open(r.File)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	manager := transfermanager.New(client, func(o *transfermanager.Options) { o.PartSizeBytes, o.MultipartUploadThreshold = r.Part, r.Part })
	done, err := manager.UploadObject(ctx, &transfermanager.UploadObjectInput{Bucket: &r.Bucket, Key: &r.Key, Body: body})
	if err != nil {
		return nil, err
	}
	return answer{"etag": done.ETag}, nil
}

func deleteMany(client *s3.Client, r request) (answer, error) {
	named := []types.ObjectIdentifier{}
	for _, key := range r.Keys {
		named = append(named, types.ObjectIdentifier{Key: aws.String(key)})
	}
	done, err := client.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: &r.Bucket, Delete: &types.Delete{Objects: named}})
	if err != nil {
		return nil, err
	}
	return answer{"deleted": len(done.Deleted), "errors": len(done.Errors)}, nil
}

// count lets threads race to create a counter and then to increment it, each until it won `steps` times.
func count(client *s3.Client, r request) (answer, error) {
	var created, won, lost atomic.Int64
	var failed error
	var once sync.Once
	var all sync.WaitGroup
	for range r.Threads {
		all.Go(func() {
			if err := countAlone(client, r, &created, &won, &lost); err != nil {
				once.Do(func() { failed = err })
			}
		})
	}
	all.Wait()
	return answer{"created": created.Load(), "won": won.Load(), "lost": lost.Load()}, failed
}

func countAlone(client *s3.Client, r request, created, won, lost *atomic.Int64) error {
	_, err := write(client, r, 0, nil, aws.String("*"))
	if err == nil {
		created.Add(1)
	} else if !isLost(err) {
		return err
	}
	for mine := 0; mine < r.Steps; {
		seen, number, err := read(client, r)
		if err != nil {
			return err
		}
		if _, err = write(client, r, number+1, seen, nil); err == nil {
			mine++
			won.Add(1)
		} else if isLost(err) {
			lost.Add(1)
		} else {
			return err
		}
	}
	return nil
}

func write(client *s3.Client, r request, number int, ifMatch, ifNoneMatch *string) (*s3.PutObjectOutput, error) {
	return client.PutObject(ctx, &s3.PutObjectInput{
		Bucket: &r.Bucket, Key: &r.Key, Body: strings.NewReader(strconv.Itoa(number)), IfMatch: ifMatch, IfNoneMatch: ifNoneMatch,
	})
}

func read(client *s3.Client, r request) (etag *string, number int, err error) {
	got, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: &r.Bucket, Key: &r.Key})
	if err != nil {
		return nil, 0, err
	}
	defer got.Body.Close()
	body, err := io.ReadAll(got.Body)
	if err != nil {
		return nil, 0, err
	}
	number, err = strconv.Atoi(string(body))
	return got.ETag, number, err
}

func isLost(err error) bool {
	code := refusal(err)["error"]
	return code == "PreconditionFailed" || code == "ConditionalRequestConflict"
}

func refusal(err error) answer {
	said := answer{"error": "none", "status": 0, "message": err.Error()}
	var named smithy.APIError
	if errors.As(err, &named) {
		said["error"] = named.ErrorCode()
	}
	var response *awshttp.ResponseError
	if errors.As(err, &response) {
		said["status"] = response.HTTPStatusCode()
	}
	return said
}
